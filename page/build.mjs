// Builds the page into ../serve_app/page: names with hashes, a .gz beside each file, URLs relative to the page.
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const target = join(here, "..", "serve_app", "page");
const fresh = `${target}.new`;
const shared = {
  absWorkingDir: here,
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  entryNames: "[name]-[hash]",
  write: false,
  outdir: fresh,
  logLevel: "warning",
};

const worklet = await build({ ...shared, entryPoints: ["src/audio/worklet.ts"] });
const workletName = basename(worklet.outputFiles[0].path);
const page = await build({
  ...shared,
  entryPoints: ["src/app.tsx", "src/style.css"],
  jsx: "automatic",
  jsxImportSource: "preact",
  define: { WORKLET_FILE: JSON.stringify(workletName) },
});

const files = [...worklet.outputFiles, ...page.outputFiles];
const named = (suffix) => basename(page.outputFiles.find((file) => file.path.endsWith(suffix)).path);
const template = await readFile(join(here, "index.html"), "utf8");
const index = template
  .replace("%STYLE%", `page/${named(".css")}`)
  .replace("%SCRIPT%", `page/${named(".js")}`);

await rm(fresh, { recursive: true, force: true });
await mkdir(fresh, { recursive: true });
let packedBytes = 0;
for (const [name, contents] of [
  ...files.map((file) => [basename(file.path), file.contents]),
  ["index.html", index],
]) {
  const packed = gzipSync(contents, { level: 9 });
  packedBytes += packed.length;
  await writeFile(join(fresh, name), contents);
  await writeFile(join(fresh, `${name}.gz`), packed);
}
await rm(target, { recursive: true, force: true });
await rename(fresh, target);
console.log(`The page: ${(packedBytes / 1000).toFixed(1)} kB gzipped`);
