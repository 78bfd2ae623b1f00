"use strict";
// The table of events can be narrowed down. Without scripts it is there in full.
(() => {
  const table = document.getElementById("events");
  if (!table) return;
  const rows = [...table.tBodies[0].rows];
  const place = document.getElementById("filters");
  const count = document.getElementById("shown");
  const all = count.textContent;
  const choices = [];

  const labelled = (name, control) => {
    const label = document.createElement("label");
    label.append(name, control);
    place.append(label);
    return control;
  };

  [...table.tHead.rows[0].cells].forEach((head, column) => {
    if (!("filter" in head.dataset)) return;
    const values = [...new Set(rows.map((row) => row.cells[column].textContent))].sort();
    if (values.length < 2) return;
    const select = labelled(head.textContent, document.createElement("select"));
    select.id = `filter-${column}`;
    for (const value of ["", ...values]) select.add(new Option(value === "" ? "all" : value, value));
    choices.push([column, select]);
  });
  const search = labelled("Search", document.createElement("input"));
  search.type = "search";
  search.id = "filter-text";

  const update = () => {
    const wanted = search.value.trim().toLowerCase();
    let shown = 0;
    for (const row of rows) {
      const fits =
        choices.every(([column, select]) => !select.value || row.cells[column].textContent === select.value) &&
        row.textContent.toLowerCase().includes(wanted);
      row.hidden = !fits;
      shown += fits;
    }
    count.textContent = shown === rows.length ? all : `${shown} of ${rows.length} shown`;
  };
  for (const [, select] of choices) select.addEventListener("change", update);
  search.addEventListener("input", update);
  place.hidden = false;
})();
