// Functions that are there once for each kind of processor; which one runs is found out as the library is loaded.
#pragma once

#if defined(__x86_64__)
#define MEMDB_CLONES __attribute__((target_clones("default", "avx2"), optimize("O3")))
#define MEMDB_WIDE_CLONES __attribute__((target_clones("default", "avx2", "avx512f"), optimize("O3")))
#else
#define MEMDB_CLONES __attribute__((optimize("O3")))
#define MEMDB_WIDE_CLONES MEMDB_CLONES
#endif
