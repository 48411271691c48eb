import { useQuery } from "@tanstack/react-query";
import { unwrap } from "../client/faults";
import { keys } from "../client/keys";
import { supabase } from "../client/supabase";
import { usePerson } from "./session";

export interface Profile {
    firstName: string;
    lastName: string;
    email: string;
    phone: string;
    responsibility: string;
    closed: boolean;
    roles: string[];
}

const KEPT = "instashare.profile";

export async function readProfile(person: string): Promise<Profile> {
    const [profile, roles] = await Promise.all([
        supabase().from("profiles").select("*").eq("id", person).maybeSingle(),
        supabase().from("user_roles").select("roles(name)").eq("user_id", person),
    ]);
    const row = unwrap(profile) as ReturnType<typeof unwrap<typeof profile.data>> | null;
    const told: Profile = {
        firstName: row?.first_name ?? "",
        lastName: row?.last_name ?? "",
        email: row?.email ?? "",
        phone: row?.phone ?? "",
        responsibility: row?.responsibility ?? "",
        closed: row === null,
        roles: unwrap(roles).map((one) => one.roles?.name ?? ""),
    };
    localStorage.setItem(`${KEPT}.${person}`, JSON.stringify(told));
    return told;
}

function recall(person: string): Profile | undefined {
    try {
        const text = localStorage.getItem(`${KEPT}.${person}`);
        return text ? (JSON.parse(text) as Profile) : undefined;
    } catch {
        return undefined;
    }
}

export function forgetProfile(person: string): void {
    localStorage.removeItem(`${KEPT}.${person}`);
}

export function useProfile() {
    const { id } = usePerson();
    return useQuery({ queryKey: keys.profile(id), queryFn: () => readProfile(id), initialData: () => recall(id), initialDataUpdatedAt: 1, staleTime: 60_000 });
}

/** What the person may do, as far as buttons are concerned; the database decides. */
export function useRoles(): { mayUpload: boolean; isAdmin: boolean } {
    const roles = useProfile().data?.roles;
    return { mayUpload: roles?.includes("member") ?? true, isAdmin: roles?.includes("admin") ?? false };
}
