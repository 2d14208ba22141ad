// The distance functions behind the operators. They compute through vec::QueryDistance, as index scans do, so that
// an index returns rows in exactly the order of the values seen here.

#include "pg/pg.hpp"

#include "sqlapi/vector_args.hpp"

#include "vec/kernels.hpp"
#include "vec/metric.hpp"

namespace tandem::sqlapi {
namespace {

struct VectorPair {
  const VectorDatum* a;
  const VectorDatum* b;
  std::size_t dimensions;
};

VectorPair PairArguments(FunctionCallInfo fcinfo) {
  const VectorDatum* a = VectorArgument(fcinfo, 0);
  const VectorDatum* b = VectorArgument(fcinfo, 1);
  CheckSameDimensions(a, b);
  return {a, b, static_cast<std::size_t>(a->dimensions)};
}

Datum MetricDistance(FunctionCallInfo fcinfo, vec::Metric metric) {
  const VectorPair pair = PairArguments(fcinfo);
  const vec::QueryDistance query(metric, pair.a->values, pair.dimensions);
  PG_RETURN_FLOAT8(query.Distance(query.Key(pair.b->values)));
}

double InnerProduct(const VectorPair& pair) {
  return vec::Kernels().inner_product(pair.a->values, pair.b->values, pair.dimensions);
}

}  // namespace

TANDEM_SQL_FUNCTION(tandem_l2_distance) {
  return MetricDistance(fcinfo, vec::Metric::kL2);
}

TANDEM_SQL_FUNCTION(tandem_cosine_distance) {
  return MetricDistance(fcinfo, vec::Metric::kCosine);
}

TANDEM_SQL_FUNCTION(tandem_l1_distance) {
  return MetricDistance(fcinfo, vec::Metric::kL1);
}

TANDEM_SQL_FUNCTION(tandem_vector_negative_inner_product) {
  return MetricDistance(fcinfo, vec::Metric::kInnerProduct);
}

TANDEM_SQL_FUNCTION(tandem_inner_product) {
  PG_RETURN_FLOAT8(InnerProduct(PairArguments(fcinfo)));
}

TANDEM_SQL_FUNCTION(tandem_vector_l2_squared_distance) {
  const VectorPair pair = PairArguments(fcinfo);
  PG_RETURN_FLOAT8(vec::Kernels().l2_squared(pair.a->values, pair.b->values, pair.dimensions));
}

/// Angle between unit vectors as a fraction of pi; the arguments' norms are taken to be 1.
TANDEM_SQL_FUNCTION(tandem_vector_spherical_distance) {
  const double cosine = InnerProduct(PairArguments(fcinfo));
  const double clamped = cosine > 1.0 ? 1.0 : (cosine < -1.0 ? -1.0 : cosine);  // NaN stays
  PG_RETURN_FLOAT8(std::acos(clamped) / M_PI);
}

}  // namespace tandem::sqlapi
