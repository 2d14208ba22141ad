// Distances, norm and normalisation of type sparsevec.

#include "pg/pg.hpp"

#include "sqlapi/sparsevec_args.hpp"

extern "C" {
#include "utils/float.h"
}

namespace tandem::sqlapi {
namespace {

struct SparsePair {
  vec::SparseView a;
  vec::SparseView b;
};

SparsePair PairArguments(FunctionCallInfo fcinfo) {
  const SparsevecDatum* a = SparseArgument(fcinfo, 0);
  const SparsevecDatum* b = SparseArgument(fcinfo, 1);
  if (a->dimensions != b->dimensions) {
    ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
                    errmsg("different sparsevec dimensions %d and %d", a->dimensions, b->dimensions)));
  }
  return {View(a), View(b)};
}

Datum MetricDistance(FunctionCallInfo fcinfo, vec::Metric metric) {
  const SparsePair pair = PairArguments(fcinfo);
  PG_RETURN_FLOAT8(vec::SparseDistance(metric, pair.a, pair.b));
}

double Norm(const SparsevecDatum* vector) {
  const float* const values = pg::SparseValues(vector);
  double sum = 0.0;
  for (int i = 0; i < vector->count; ++i) sum += static_cast<double>(values[i]) * values[i];
  return std::sqrt(sum);
}

}  // namespace

TANDEM_SQL_FUNCTION(tandem_sparsevec_l2_distance) {
  return MetricDistance(fcinfo, vec::Metric::kL2);
}

TANDEM_SQL_FUNCTION(tandem_sparsevec_cosine_distance) {
  return MetricDistance(fcinfo, vec::Metric::kCosine);
}

TANDEM_SQL_FUNCTION(tandem_sparsevec_l1_distance) {
  return MetricDistance(fcinfo, vec::Metric::kL1);
}

TANDEM_SQL_FUNCTION(tandem_sparsevec_negative_inner_product) {
  return MetricDistance(fcinfo, vec::Metric::kInnerProduct);
}

TANDEM_SQL_FUNCTION(tandem_sparsevec_inner_product) {
  const SparsePair pair = PairArguments(fcinfo);
  PG_RETURN_FLOAT8(vec::SparseInnerProduct(pair.a, pair.b));
}

TANDEM_SQL_FUNCTION(tandem_sparsevec_l2_squared_distance) {
  const SparsePair pair = PairArguments(fcinfo);
  PG_RETURN_FLOAT8(vec::SparseL2Squared(pair.a, pair.b));
}

TANDEM_SQL_FUNCTION(tandem_sparsevec_l2_norm) {
  PG_RETURN_FLOAT8(Norm(SparseArgument(fcinfo, 0)));
}

/// Elements that become zero are dropped: none is stored.
TANDEM_SQL_FUNCTION(tandem_sparsevec_l2_normalize) {
  const SparsevecDatum* vector = SparseArgument(fcinfo, 0);
  const float* const values = pg::SparseValues(vector);
  const double norm = Norm(vector);
  int count = 0;
  for (int i = 0; i < vector->count; ++i) {
    const auto element = static_cast<float>(values[i] / norm);
    if (std::isinf(element)) float_overflow_error();
    count += element != 0.0F ? 1 : 0;
  }
  SparsevecDatum* result = pg::NewSparsevec(vector->dimensions, count);
  float* const result_values = pg::SparseValues(result);
  int at = 0;
  for (int i = 0; i < vector->count; ++i) {
    const auto element = static_cast<float>(values[i] / norm);
    if (element == 0.0F) continue;
    result->indices[at] = vector->indices[i];
    result_values[at++] = element;
  }
  PG_RETURN_POINTER(result);
}

}  // namespace tandem::sqlapi
