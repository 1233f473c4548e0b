// Pictures that come in: chosen, dropped (folders too), pasted.

/** All files of a drop as {file, path}, folders walked through. */
export async function dropped(transfer) {
  const entries = [...(transfer.items || [])].filter((item) => item.kind === "file")
    .map((item) => (item.webkitGetAsEntry ? item.webkitGetAsEntry() : null));
  const files = [...transfer.files];
  if (!entries.length || entries.some((entry) => !entry)) return files.map(named);
  return (await Promise.all(entries.map((entry) => within(entry, "")))).flat();
}

export const named = (file) => ({ file, path: file.webkitRelativePath || file.name });

async function within(entry, above) {
  const path = above + entry.name;
  if (entry.isFile) return [{ file: await new Promise((resolve, reject) => entry.file(resolve, reject)), path }];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) break;
    found.push(...some);
  }
  return (await Promise.all(found.filter((one) => !one.name.startsWith(".")).map((one) => within(one, `${path}/`)))).flat();
}

/** Pictures of a paste. */
export function pasted(transfer) {
  return [...(transfer?.files || [])].filter((file) => file.type.startsWith("image/") || file.name);
}
