// Which part of the page is shown, kept in the address: #/keys, #/request/ID, #/requests?key=ID.

/** The address of a view. Empty values of the query are left out. */
export function to(view, id = "", query = {}) {
  const pairs = new URLSearchParams(Object.entries(query).filter(([, value]) => value)).toString();
  return `#/${view}${id ? `/${encodeURIComponent(id)}` : ""}${pairs ? `?${pairs}` : ""}`;
}

/** { view, id, query } of the current address, '' where there is none. */
export function here() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [view, id = ""] = path.split("/");
  try {
    return { view, id: decodeURIComponent(id), query: Object.fromEntries(new URLSearchParams(query)) };
  } catch {
    return { view, id: "", query: {} };
  }
}
