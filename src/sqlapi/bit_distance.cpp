// Distances between values of the core type bit.

#include "pg/pg.hpp"

#include "sqlapi/vector_args.hpp"

#include "vec/bit_kernels.hpp"

extern "C" {
#include "utils/varbit.h"
}

namespace tandem::sqlapi {
namespace {

struct BitPair {
  const bits8* a;
  const bits8* b;
  std::size_t bytes;  ///< bits behind the last one are zero
};

BitPair PairArguments(FunctionCallInfo fcinfo) {
  VarBit* a = PG_GETARG_VARBIT_P(0);
  VarBit* b = PG_GETARG_VARBIT_P(1);
  if (VARBITLEN(a) != VARBITLEN(b)) {
    ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
                    errmsg("different bit lengths %u and %u", static_cast<unsigned>(VARBITLEN(a)),
                           static_cast<unsigned>(VARBITLEN(b)))));
  }
  return {VARBITS(a), VARBITS(b), static_cast<std::size_t>(VARBITBYTES(a))};
}

}  // namespace

TANDEM_SQL_FUNCTION(tandem_hamming_distance) {
  const BitPair pair = PairArguments(fcinfo);
  PG_RETURN_FLOAT8(static_cast<double>(vec::CountBits().hamming(pair.a, pair.b, pair.bytes)));
}

TANDEM_SQL_FUNCTION(tandem_jaccard_distance) {
  const BitPair pair = PairArguments(fcinfo);
  PG_RETURN_FLOAT8(vec::JaccardDistance(vec::CountBits().overlap(pair.a, pair.b, pair.bytes)));
}

}  // namespace tandem::sqlapi
