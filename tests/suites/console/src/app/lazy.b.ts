/** As `lazy.ts`, in the other build. */
export const LAZY_BUILD = 'lazy b';
