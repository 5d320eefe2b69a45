// The REST API, told from its own OpenAPI description; no scripts from elsewhere.

import { byId, el } from "./dom.js";

const refName = (schema) => schema?.$ref?.split("/").at(-1);

// prose with `code`; single line breaks are only the width of the source
function prose(text) {
  return (text ?? "").replace(/([^\n])\n(?!\n)/g, "$1 ").split("`").map((part, i) => (i % 2 ? el("code", {}, part) : part));
}

const plainName = (name) => name.replace(/^Page_(.*)Out_$/, "a page of $1").replace(/Out$/, "");

function typeName(schema) {
  if (!schema) return "";
  if (schema.$ref) return plainName(refName(schema));
  if (schema.anyOf) return schema.anyOf.map(typeName).join(" or ");
  if (schema.type === "array") return `list of ${typeName(schema.items)}`;
  return schema.format === "date-time" ? "time" : schema.type ?? "anything";
}

function fieldsTable(schema, schemas) {
  const rows = Object.entries(schema.properties ?? {}).map(([name, field]) => el("tr", {},
    el("td", {}, name), el("td", {}, typeName(field)),
    el("td", {}, ...prose(field.description), field.examples?.length ? ` Example: ${JSON.stringify(field.examples[0])}` : "")));
  const nested = new Set();
  for (const field of Object.values(schema.properties ?? {}))
    for (const part of [field, field.items, ...(field.anyOf ?? [])]) if (refName(part) && schemas[refName(part)]) nested.add(refName(part));
  return [
    el("table", {}, el("tbody", {}, rows)),
    ...[...nested].map((name) => el("details", {}, el("summary", {}, `${plainName(name)}: ${schemas[name].description ?? ""}`), fieldsTable(schemas[name], schemas))),
  ];
}

function operation(path, spec, schemas) {
  const answer = spec.responses["200"]?.content ?? {};
  const schema = answer["application/json"]?.schema;
  const parameters = (spec.parameters ?? []).map((p) => el("tr", {},
    el("td", {}, p.name + (p.required ? "" : "?")), el("td", {}, typeName(p.schema)), el("td", {}, ...prose(p.description ?? p.schema.description))));
  return el("section", { class: "panel" },
    el("header", {}, el("h2", { class: "path" }, path), el("p", { class: "aside" }, spec.summary ?? "")),
    el("p", {}, ...prose(spec.description)),
    parameters.length ? el("table", {}, el("tbody", {}, parameters)) : null,
    refName(schema) ? el("details", {}, el("summary", {}, `answers with ${plainName(refName(schema))}`), fieldsTable(schemas[refName(schema)], schemas))
      : el("p", { class: "aside" }, `answers with ${Object.keys(answer).join(", ") || "JSON"}`));
}

const api = await (await fetch("/api/v1/openapi.json")).json();
byId("version").textContent = `version ${api.info.version}`;
byId("docs").append(el("p", { class: "intro" }, ...prose(api.info.description)),
  ...Object.entries(api.paths).map(([path, methods]) => operation(path, methods.get, api.components.schemas)));
