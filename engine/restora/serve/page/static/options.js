// The form of options: filled from what the server offers, read as parameters of a request.

const $ = (id) => document.getElementById(id);
const LOSSY = ["auto", "jpg", "webp"];

/** offered: the answer of GET /v1/models. */
export function fillOptions(offered) {
  const models = offered.models.filter((model) => model.kind === "upsampler");
  $("model").replaceChildren(
    ...models.map((model) => {
      const choice = new Option(`${model.name} (${model.scale}×)`, model.name, model.default, model.default);
      return choice;
    }),
  );
  $("face-options").disabled = !offered.faces;
  $("faces").checked = offered.faces;
  $("no-faces").hidden = offered.faces;
}

export function watchOptions() {
  const form = $("parameters");
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", showOptions);
  showOptions();
}

/** The options that differ from the server's defaults, or null if one is not valid; that is shown. */
export function readOptions() {
  const form = $("parameters");
  if (!form.reportValidity()) return null;
  const found = new FormData(form);
  const parameters = { model: found.get("model"), ext: found.get("ext") };
  if (found.get("outscale")) parameters.outscale = found.get("outscale");
  if (LOSSY.includes(found.get("ext")) && found.get("quality")) parameters.quality = found.get("quality");
  if (found.has("strip_metadata")) parameters.strip_metadata = "true";
  if (!$("face-options").disabled) {
    parameters.faces = String(found.has("faces"));
    if (found.has("faces")) {
      parameters.face_strength = found.get("face_strength");
      if (found.has("only_center_face")) parameters.only_center_face = "true";
    }
  }
  return parameters;
}

function showOptions() {
  $("quality-field").hidden = !LOSSY.includes($("ext").value);
  const strength = $("face_strength");
  strength.nextElementSibling.value = `${Math.round(100 * strength.value)} %`;
}
