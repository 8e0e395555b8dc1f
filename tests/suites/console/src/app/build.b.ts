/** Which build this is; the other one stands in `build.ts`. */
export const BUILD = 'b';
