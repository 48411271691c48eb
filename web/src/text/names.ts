/** A name in its two parts; the extension keeps its dot. A leading dot begins no extension. */
export function splitName(name: string): { base: string; extension: string } {
    const dot = name.lastIndexOf(".");
    if (dot <= 0 || dot === name.length - 1 || name.length - dot > 12) return { base: name, extension: "" };
    return { base: name.slice(0, dot), extension: name.slice(dot) };
}

export type Kind = "pdf" | "doc" | "xls" | "img" | "vid" | "zip";

const KINDS: Record<Kind, string> = {
    pdf: "pdf ps epub",
    doc: "doc docx odt rtf txt md pages tex html htm xml json log",
    xls: "xls xlsx ods csv tsv numbers sqlite",
    img: "jpg jpeg png gif webp tif tiff heic avif svg bmp psd ai raw",
    vid: "mp4 mov avi mkv webm mp3 wav flac ogg m4a ppt pptx odp key",
    zip: "zip rar 7z tar gz xz bz2 zst iso dmg exe bin",
};
const BY_EXTENSION = new Map(Object.entries(KINDS).flatMap(([kind, list]) => list.split(" ").map((extension) => [extension, kind as Kind] as const)));
const LABELS: Record<string, string> = { pptx: "PPT", docx: "DOC", xlsx: "XLS", jpeg: "JPG", tiff: "TIF", html: "HTM" };

/** What the folded-corner tile of a document shows: its tint and up to four letters. */
export function tileOf(name: string): { kind: Kind; label: string } {
    const extension = splitName(name).extension.slice(1).toLowerCase();
    const label = LABELS[extension] ?? (/^[a-z0-9]{1,4}$/.test(extension) ? extension.toUpperCase() : "FILE");
    return { kind: BY_EXTENSION.get(extension) ?? "zip", label };
}
