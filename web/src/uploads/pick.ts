/** Opens the system's file picker; resolves with nothing where it is closed. */
export function pickFiles(multiple: boolean): Promise<File[]> {
    return new Promise((resolve) => {
        const input = document.createElement("input");
        input.type = "file";
        input.multiple = multiple;
        input.hidden = true;
        input.dataset.picker = "";
        const end = (files: File[]) => {
            input.remove();
            resolve(files);
        };
        input.addEventListener("change", () => end([...(input.files ?? [])]));
        input.addEventListener("cancel", () => end([]));
        document.body.append(input);
        input.click();
    });
}
