/**
 * Stands in for the parts of supabase-js that this client never calls: Realtime (freshness is polled), Functions, Storage
 * (bytes go by TUS), passkeys and wallets. The built page is 26 KB lighter for it.
 * supabase-js makes some of these objects when it is created; using one is a mistake that says so.
 */
function leftOut(): never {
    throw new Error("This part of supabase-js is left out of the build (vite.config.ts).");
}

class Absent {
    /** supabase-js tells Realtime each new token. */
    setAuth(): Promise<void> {
        return Promise.resolve();
    }
    from = leftOut;
    channel = leftOut;
    invoke = leftOut;
}

export {
    Absent as default,
    Absent as FunctionRegion,
    Absent as FunctionsClient,
    Absent as FunctionsError,
    Absent as FunctionsFetchError,
    Absent as FunctionsHttpError,
    Absent as FunctionsRelayError,
    Absent as RealtimeClient,
    Absent as StorageApiError,
    Absent as StorageClient,
    Absent as WebAuthnApi,
    leftOut as browserSupportsWebAuthn,
    leftOut as createCredential,
    leftOut as createSiweMessage,
    leftOut as deserializeCredentialCreationOptions,
    leftOut as deserializeCredentialRequestOptions,
    leftOut as fromHex,
    leftOut as getAddress,
    leftOut as getCredential,
    leftOut as serializeCredentialCreationResponse,
    leftOut as serializeCredentialRequestResponse,
    leftOut as toHex,
    leftOut as webAuthnAbortService,
};
