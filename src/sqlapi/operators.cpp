#include "pg/pg.hpp"

#include "sqlapi/operators.hpp"

#include "am/operators.hpp"

extern "C" {
PGDLLEXPORT Datum tandem_l2_distance(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum tandem_vector_negative_inner_product(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum tandem_cosine_distance(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum tandem_l1_distance(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum tandem_halfvec_l2_distance(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum tandem_halfvec_negative_inner_product(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum tandem_halfvec_cosine_distance(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum tandem_halfvec_l1_distance(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum tandem_sparsevec_l2_distance(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum tandem_sparsevec_negative_inner_product(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum tandem_sparsevec_cosine_distance(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum tandem_sparsevec_l1_distance(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum tandem_hamming_distance(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum tandem_jaccard_distance(PG_FUNCTION_ARGS);
}

namespace tandem::sqlapi {

void RegisterOperators() {
  static constexpr PGFunction kFunctions[] = {tandem_l2_distance,
                                              tandem_vector_negative_inner_product,
                                              tandem_cosine_distance,
                                              tandem_l1_distance,
                                              tandem_halfvec_l2_distance,
                                              tandem_halfvec_negative_inner_product,
                                              tandem_halfvec_cosine_distance,
                                              tandem_halfvec_l1_distance,
                                              tandem_sparsevec_l2_distance,
                                              tandem_sparsevec_negative_inner_product,
                                              tandem_sparsevec_cosine_distance,
                                              tandem_sparsevec_l1_distance,
                                              tandem_hamming_distance,
                                              tandem_jaccard_distance};
  am::RegisterOwnOperators(kFunctions);
}

}  // namespace tandem::sqlapi
