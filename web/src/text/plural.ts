/** Chooses between the forms of a language by its own rules (Unicode's plural rules); made when first needed. */
export function pluralOf(language: string): (count: number, one: string, other: string) => string {
    let rules: Intl.PluralRules | undefined;
    return (count, one, other) => {
        rules ??= new Intl.PluralRules(language);
        return rules.select(count) === "one" ? one : other;
    };
}
