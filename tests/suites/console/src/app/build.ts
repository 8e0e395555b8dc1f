/** Which build this is; the other one stands in `build.b.ts`. */
export const BUILD = 'a';
