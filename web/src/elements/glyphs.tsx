import type { ComponentType, ReactElement } from "react";

/** An icon: one of lucide's, or one of those below. */
export type Icon = ComponentType<{ size?: number; strokeWidth?: number; "aria-hidden"?: boolean }>;

// the icons of a row, drawn as lucide does (ISC) but each in one path and made once: a scroll through a long list shows
// hundreds of them a second
function glyph(path: string): Icon {
    const made = new Map<string, ReactElement>();
    return function Glyph({ size = 24, strokeWidth = 2 }) {
        const key = `${size} ${strokeWidth}`;
        let picture = made.get(key);
        if (!picture) {
            picture = (
                <svg
                    width={size}
                    height={size}
                    viewBox="0 0 24 24"
                    fill="none"
                    stroke="currentColor"
                    strokeWidth={strokeWidth}
                    strokeLinecap="round"
                    strokeLinejoin="round"
                    aria-hidden
                >
                    <path d={path} />
                </svg>
            );
            made.set(key, picture);
        }
        return picture;
    };
}

export const CheckGlyph = glyph("M20 6 9 17l-5-5");
export const DownloadGlyph = glyph("M12 15V3M21 15v4a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2v-4m4-5 5 5 5-5");
export const ShareGlyph = glyph("M16 21v-2a4 4 0 0 0-4-4H6a4 4 0 0 0-4 4v2M13 7a4 4 0 1 1-8 0 4 4 0 0 1 8 0zM19 8v6M22 11h-6");
export const MoreGlyph = glyph("M13 12a1 1 0 1 1-2 0 1 1 0 0 1 2 0zM13 5a1 1 0 1 1-2 0 1 1 0 0 1 2 0zM13 19a1 1 0 1 1-2 0 1 1 0 0 1 2 0z");
