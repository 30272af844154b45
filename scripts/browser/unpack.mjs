// Unpacks the Brotli files of a folder beside themselves, which neither tar nor Python can.
import fs from "node:fs";
import path from "node:path";
import { pipeline } from "node:stream/promises";
import zlib from "node:zlib";

const folder = process.argv[2];
for (const name of fs.readdirSync(folder).filter((name) => name.endsWith(".br"))) {
  const packed = path.join(folder, name);
  const whole = fs.createWriteStream(packed.slice(0, -3), { mode: 0o755 });
  await pipeline(fs.createReadStream(packed), zlib.createBrotliDecompress(), whole);
}
