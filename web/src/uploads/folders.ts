/** The files of a drop; folders are opened and only their files kept. `nested` is how many came from folders. */
export async function filesOfDrop(transfer: DataTransfer): Promise<{ files: File[]; nested: number }> {
    const entries = [...transfer.items].filter((item) => item.kind === "file").map((item) => ({ entry: item.webkitGetAsEntry(), file: item.getAsFile() }));
    const files: File[] = [];
    let nested = 0;
    for (const { entry, file } of entries) {
        if (entry?.isDirectory) {
            const found = await filesOfFolder(entry as FileSystemDirectoryEntry);
            nested += found.length;
            files.push(...found);
        } else if (file) {
            files.push(file);
        }
    }
    return { files, nested };
}

async function filesOfFolder(folder: FileSystemDirectoryEntry): Promise<File[]> {
    const files: File[] = [];
    const reader = folder.createReader();
    for (;;) {
        // a reader hands out a hundred entries at most a call, and none at the end
        const entries = await new Promise<FileSystemEntry[]>((resolve) => reader.readEntries(resolve, () => resolve([])));
        if (entries.length === 0) return files;
        for (const entry of entries) {
            if (entry.isDirectory) files.push(...(await filesOfFolder(entry as FileSystemDirectoryEntry)));
            else if (entry.name !== ".DS_Store") {
                const file = await new Promise<File | null>((resolve) => (entry as FileSystemFileEntry).file(resolve, () => resolve(null)));
                if (file) files.push(file);
            }
        }
    }
}
