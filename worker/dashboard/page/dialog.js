// Dialogs: a form whose errors are shown in it, a confirmation, and a secret that is shown once.

import { $, announce, focusable, h } from "./dom.js";

/** Opens a dialog and returns its form. `text`: below the title. `inputs`: elements; see `form`. `send` is called with the
 *  form on submit. Its errors are shown in the dialog; if it returns a function, that is called after the dialog is closed. */
export function openDialog({ title, text, inputs = [], submit, danger, cancel = "Cancel" }, send) {
  const opener = document.activeElement;
  const said = h("p", { class: "error wide", role: "alert" });
  const button = submit ? h("button", { class: danger ? "danger" : "primary", type: "submit" }, submit) : null;
  const leave = h("button", { type: "button", autofocus: danger, on: { click: () => dialog.close() } }, cancel);
  const heading = h("h2", { id: "dialog-title" }, title);
  const note = text ? h("p", { class: "wide", id: "dialog-text" }, text) : null;
  const form = h("form", { class: "fields", autocomplete: "off", novalidate: !submit }, heading, note, ...inputs, said, h("div", { class: "buttons wide" }, leave, button));
  const dialog = h("dialog", { "aria-labelledby": "dialog-title", "aria-describedby": note && "dialog-text" }, form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!button) return;
    button.disabled = true;
    said.textContent = "";
    try {
      const then = await send(form);
      dialog.close();
      then?.();
    } catch (error) {
      said.textContent = error.message;
      said.scrollIntoView({ block: "nearest" });
    } finally {
      button.disabled = false;
    }
  });
  dialog.addEventListener("close", () => {
    dialog.remove();
    // The table may have been filled anew meanwhile.
    if (!opener?.isConnected && opener?.dataset?.focus) focusable(opener.dataset.focus)?.focus();
  });
  document.body.append(dialog);
  dialog.showModal();
  return form;
}

export function closeDialogs() {
  for (const dialog of document.querySelectorAll("dialog")) dialog.close();
}

/** Shows a key's secret, once. */
export function showSecret(name, secret) {
  const field = h("input", { readonly: true, "aria-label": "Secret", spellcheck: "false" });
  const copy = h("button", { class: "primary", type: "button", on: { click: () => copied(field) } }, "Copy");
  field.value = secret; // not an attribute, which would be part of the markup
  openDialog({
    title: `The secret of ${name}`,
    text: "It is shown this once: only its hash is kept. Copy it now.",
    inputs: [h("div", { class: "secret wide" }, field, copy)],
    cancel: "Done",
  });
  copy.focus();
}

async function copied(field) {
  field.select();
  try {
    await navigator.clipboard.writeText(field.value);
  } catch {
    // Without HTTPS there is no clipboard API, but this older method works.
    if (!document.execCommand("copy")) return announce("It could not be copied: it is selected, press Ctrl+C.");
  }
  announce("The secret is on the clipboard.");
}
