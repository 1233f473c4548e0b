// Pictures that come in: chosen, dropped (folders too), pasted.

/** All files of a drop, folders walked through. */
export async function dropped(transfer) {
  const entries = [...(transfer.items || [])]
    .filter((item) => item.kind === "file")
    .map((item) => (item.webkitGetAsEntry ? item.webkitGetAsEntry() : null));
  if (!entries.length || entries.some((entry) => !entry)) return [...transfer.files];
  const found = await Promise.all(entries.map(filesIn));
  return found.flat();
}

async function filesIn(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) break;
    found.push(...some);
  }
  const named = found.filter((one) => !one.name.startsWith("."));
  return (await Promise.all(named.map(filesIn))).flat();
}

/** Pictures of a paste. */
export function pasted(transfer) {
  return [...(transfer?.files || [])].filter((file) => file.type.startsWith("image/") || file.name);
}
