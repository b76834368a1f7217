// How Panel's components get their modules: by the browser itself. The shim that Panel brings fetches,
// reads and rewrites each of them first, for browsers that know no import maps.

window.importShim = (url) => import(new URL(url, document.baseURI));

window.importShim.addImportMap = (map) => {
  if (!Object.keys(map.imports ?? {}).length) return;
  const script = document.createElement("script");
  script.type = "importmap";
  script.textContent = JSON.stringify(map);
  document.head.append(script);
};
