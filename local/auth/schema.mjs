// Makes the tables of schema auth in one transaction, as supabase_auth_admin. May run again; never changes what is there.
//
// lite's own ensureSystemSchema swallows every error; this does not. The functions auth.uid() and its like are not made
// here: they belong to supabase_admin, as hosted.

import { getAuthSchemaSql } from "@supabase/lite";
import { connect } from "./database.mjs";
import { databaseSettings } from "./settings.mjs";

const TABLES = ["users", "sessions", "refresh_tokens", "identities", "flow_state", "audit_log_entries", "mfa_amr_claims"];

// How a session was signed in, which every later token of it repeats in `amr`. lite lacks the table, GoTrue has it.
const AMR_CLAIMS = `
    create table if not exists auth.mfa_amr_claims (
        id uuid primary key,
        session_id uuid not null references auth.sessions (id) on delete cascade,
        authentication_method text not null,
        created_at timestamptz not null default now(),
        updated_at timestamptz not null default now(),
        constraint mfa_amr_claims_session_id_authentication_method_pkey unique (session_id, authentication_method)
    )`;

const { driver } = connect(databaseSettings().databaseUrl, 1);
try {
    await driver.begin(async (sql) => {
        await sql`select pg_advisory_xact_lock(hashtext('instashare auth schema'))`;
        await sql.unsafe(getAuthSchemaSql(false));
        await sql.unsafe(AMR_CLAIMS);
        for (const table of TABLES) await sql.unsafe(`alter table auth.${table} enable row level security`);
    });
} catch (error) {
    console.error(`The tables of schema auth cannot be made: ${error.message}`);
    process.exitCode = 1;
} finally {
    await driver.end({ timeout: 5 });
}
