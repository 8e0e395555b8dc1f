/** Goes into the chunk of a lazily loaded view, so that each build names it otherwise. */
export const LAZY_BUILD = 'lazy a';
