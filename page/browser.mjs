// Unpacks the browser of the tests and the libraries and fonts that it needs into the folder named by the argument:
// none of them has to be on the machine.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliDecompressSync } from "node:zlib";

const packed = fileURLToPath(new URL("node_modules/@sparticuz/chromium/bin/", import.meta.url));
for (const name of readdirSync(packed))
  writeFileSync(
    join(process.argv[2], name.replace(/\.br$/, "")),
    brotliDecompressSync(readFileSync(join(packed, name))),
    { mode: 0o755 },
  );
