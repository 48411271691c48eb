import { QueryClient } from "@tanstack/react-query";
import { asFault } from "./faults";

/** The query cache. Refusals are not tried again; what never arrived is, twice. Freshness is the pulse's affair. */
export const cache = new QueryClient({
    defaultOptions: {
        queries: {
            staleTime: 15_000,
            gcTime: 30 * 60_000,
            refetchOnWindowFocus: false,
            networkMode: "always",
            retry: (count, fault) => count < 2 && asFault(fault).code === "unreachable" && navigator.onLine,
            retryDelay: (attempt) => 500 * 2 ** attempt,
        },
        mutations: { networkMode: "always" },
    },
});
