/** Every key of the query cache, in one place. The person's id stands first: nobody sees another's cache. */
export const keys = {
    all: (person: string) => [person] as const,
    profile: (person: string) => [person, "profile"] as const,
    limits: (person: string) => [person, "limits"] as const,
    counts: (person: string) => [person, "counts"] as const,
    lists: (person: string) => [person, "documents"] as const,
    list: (person: string, filter: string, search: string, sort: string) => [person, "documents", filter, search, sort] as const,
    access: (person: string) => [person, "access"] as const,
    /** Of one document by its id, of a page by its number. */
    accessOf: (person: string, documents: string | number) => [person, "access", documents] as const,
    shared: (person: string) => [person, "shared"] as const,
    trash: (person: string) => [person, "trash"] as const,
    activity: (person: string) => [person, "activity"] as const,
    admin: (person: string, what: string, ...more: readonly string[]) => [person, "admin", what, ...more] as const,
};
