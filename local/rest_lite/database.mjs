// The connection that lite serves REST by: as authenticator, with what lite's own gets wrong put right.

import { createPostgresConnection } from "@supabase/lite/postgres";
import { currentRequest } from "./requests.mjs";
import { types } from "./values.mjs";

const ROLES = ["anon", "authenticated", "service_role"];
const OPTIONS = {
    connect_timeout: 5,
    onnotice: () => {},
    types,
    connection: { application_name: "instashare rest", search_path: "public, extensions" },
};

class Refused extends Error {
    constructor(answer) {
        super("refused");
        this.answer = answer;
    }
}

/** Roll back what is answered with a refusal (a change of two rows where one was wanted): lite would commit it. */
function refuseWhole(answer) {
    if (answer instanceof Response && answer.status >= 400) throw new Refused(answer);
    return answer;
}

/** A connection whose picture of the schema is read by `refresh`, and read anew on `notify pgrst`. */
export class Database {
    constructor(url) {
        this._url = url;
        this._picture = null;
        this._timeouts = {};
        this.connection = createPostgresConnection({ url, postgresOptions: { ...OPTIONS, max: 10 } });
        // the default would grant everything in every schema under row level security to anon and authenticated
        this.connection.ensureRlsContext = async () => true;
        this.connection.introspect = async () => this._picture;
        this.connection.normalizeDbError = (error) => {
            const request = currentRequest.getStore();
            if (request) request.error = error; // of which lite's answer tells only a part
            return error;
        };
        const within = this.connection.withContext.bind(this.connection);
        this.connection.withContext = async (vars, work, options) => {
            try {
                return await within(vars, async (transaction) => refuseWhole(await work(transaction)), options);
            } catch (error) {
                if (error instanceof Refused) return error.answer;
                throw error;
            }
        };
        const enter = this.connection.applyJwtSessionContext.bind(this.connection);
        this.connection.applyJwtSessionContext = async (transaction, vars, named) => {
            await enter(transaction, vars, named);
            await this._limit(transaction, vars.auth?.role ?? "anon");
        };
    }

    /** Read the schema, and follow it from now on. */
    async follow() {
        await this.refresh();
        // a failure (the server restarts, say) leaves the picture as it was: listening again reads it anew
        const again = () => this.refresh().catch((error) => console.error(`rest: the schema cannot be read: ${error.message}`));
        let first = true;
        await this.connection.driver.listen("pgrst", again, () => (first ? (first = false) : again()));
    }

    /** Read what each role may see, and put it together: authenticator itself inherits nothing, so it sees nothing. */
    async refresh() {
        const pictures = await Promise.all(ROLES.map((role) => introspectAs(this._url, role)));
        const picture = pictures[2];
        for (const part of ["tables", "columns"]) {
            const named = pictures.flatMap((one) => one[part]).map((one) => [JSON.stringify([one.schema, one.table, one.name]), one]);
            picture[part] = [...new Map(named).values()];
        }
        const rows = await this.connection.driver`select rolname, rolconfig from pg_roles where rolname in ${this.connection.driver(ROLES)}`;
        const limit = ({ rolconfig }) => rolconfig?.find((one) => one.startsWith("statement_timeout="))?.split("=")[1];
        this._timeouts = Object.fromEntries(rows.map((row) => [row.rolname, limit(row)]));
        this._picture = picture;
    }

    /** Whether `name` is an argument of type json or jsonb of a function of schema public. */
    takesJson(name, argument) {
        return this._picture.functions.some(
            (one) => one.schema === "public" && one.name === name && /^jsonb?$/.test(one.arg_types[one.arg_names.indexOf(argument)] ?? ""),
        );
    }

    /** Whether `name` is a column of type json or jsonb of a table or view of schema public. */
    keepsJson(table, name) {
        return this._isOf(table, name, /^jsonb?$/);
    }

    /** Whether `name` is a column whose numbers may be larger than JavaScript's. */
    counts(table, name) {
        return this._isOf(table, name, /^(bigint|bigserial|numeric)/);
    }

    async ping() {
        await this.connection.driver`select 1`;
    }

    async close() {
        await this.connection.driver.end({ timeout: 5 });
    }

    _isOf(table, name, type) {
        return this._picture.columns.some((one) => one.schema === "public" && one.table === table && one.name === name && type.test(one.type));
    }

    /** A role's own time limit, which `set role` does not bring along (PostgREST sets it likewise). */
    async _limit(transaction, role) {
        const limit = this._timeouts[role];
        if (limit) await transaction.selectNoFrom((one) => one.fn("set_config", [one.val("statement_timeout"), one.val(limit), one.lit(true)]).as("limit")).execute();
    }
}

async function introspectAs(url, role) {
    const connection = createPostgresConnection({
        url,
        postgresOptions: { ...OPTIONS, max: 1, connection: { ...OPTIONS.connection, role } },
    });
    try {
        const picture = await connection.introspect();
        if (picture.timezones === undefined) throw new Error(`what ${role} may see cannot be read`); // lite logged why
        return picture;
    } finally {
        await connection.driver.end({ timeout: 5 });
    }
}
