/** Line icons on a grid of 20. */

const SVG = "http://www.w3.org/2000/svg";
const PATHS = {
  back: "M12 4.5 6.5 10l5.5 5.5",
  chat: "M4.5 3.5h11a2 2 0 0 1 2 2v6.5a2 2 0 0 1-2 2H9.5L5.5 17v-3h-1a2 2 0 0 1-2-2V5.5a2 2 0 0 1 2-2zM6 7.5h8M6 10.25h5",
  copy: "M7.5 7.5h8.5v9H7.5zM12.5 4.75V3.5H4v9h1.25",
  down: "M10 4v12M5 11l5 5 5-5",
  download: "M10 3.5v9M6.25 9 10 12.75 13.75 9M4 16.5h12",
  edit: "M13.25 3.75l3 3L7 16l-3.75.75L4 13zM11.5 5.5l3 3",
  file: "M5.5 2.5h6l3.5 3.5v11.5h-9.5zM11.5 2.5V6H15",
  remove: "M3.5 5.5h13M8 5.5v-2h4v2M5.25 5.5l.75 11h8l.75-11M8.5 8.5v5M11.5 8.5v5",
};

/** An icon beside words: what it means is said there. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("viewBox", "0 0 20 20");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}
