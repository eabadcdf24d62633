/* Makes room for the next inclusion of vectors.h. */

#undef FV
#undef IV
#undef BYTES
#undef LOAD
#undef STORE
#undef LOAD_LOOSE
#undef STORE_LOOSE
#undef INLINE
#undef SHUFFLE
#undef UNPACK_LOW
#undef UNPACK_HIGH
#undef PAIRS_LOW
#undef PAIRS_HIGH
#undef LEAST
#undef MOST
#undef PICK
