/* Tells which sources a library was made of. */
const char digest[] = DIGEST;
