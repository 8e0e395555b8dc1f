// Files that are made, not written: translations without a hash in their names, as ZITADEL's Console has them.
import { mkdirSync, writeFileSync } from 'node:fs';

mkdirSync('src/assets/i18n', { recursive: true });
for (const language of ['en', 'de']) {
  const texts = Object.fromEntries(
    Array.from({ length: 2500 }, (_, n) => [`SECTION${n % 40}.KEY${n}`, `${language} text number ${n}`]),
  );
  writeFileSync(`src/assets/i18n/${language}.json`, JSON.stringify(texts));
}
