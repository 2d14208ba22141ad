// The distance functions behind the operators on dense vectors. They compute through vec::QueryDistance, as index scans
// do, so that an index returns rows in exactly the order of the values seen here.

#include "pg/pg.hpp"

#include "sqlapi/vector_args.hpp"

#include "vec/kernels.hpp"
#include "vec/metric.hpp"

namespace tandem::sqlapi {
namespace {

template <typename Element>
struct VectorPair {
  const DenseDatum<Element>* a;
  const DenseDatum<Element>* b;
  std::size_t dimensions;
};

template <typename Element>
VectorPair<Element> PairArguments(FunctionCallInfo fcinfo) {
  const DenseDatum<Element>* a = VectorArgument<Element>(fcinfo, 0);
  const DenseDatum<Element>* b = VectorArgument<Element>(fcinfo, 1);
  CheckSameDimensions(a, b);
  return {a, b, static_cast<std::size_t>(a->dimensions)};
}

/// The left side of a distance as the kernels want it, in single precision: `room` or the vector itself.
const float* QueryOf(const VectorDatum* vector, float*) {
  return vector->values;
}

const float* QueryOf(const HalfvecDatum* vector, float* room) {
  vec::Kernels().to_floats(vector->values, static_cast<std::size_t>(vector->dimensions), room);
  return room;
}

template <typename Element>
constexpr std::size_t kQueryRoom = std::is_same_v<Element, Half> ? pg::kMaxVectorDimensions : 1;

template <typename Element>
Datum MetricDistance(FunctionCallInfo fcinfo, vec::Metric metric) {
  const VectorPair<Element> pair = PairArguments<Element>(fcinfo);
  float room[kQueryRoom<Element>];
  const vec::QueryDistance query(metric, QueryOf(pair.a, room), pair.dimensions);
  PG_RETURN_FLOAT8(query.Distance(query.Key(pair.b->values)));
}

template <typename Element>
double InnerProduct(FunctionCallInfo fcinfo) {
  const VectorPair<Element> pair = PairArguments<Element>(fcinfo);
  float room[kQueryRoom<Element>];
  const vec::QueryDistance query(vec::Metric::kInnerProduct, QueryOf(pair.a, room), pair.dimensions);
  return -query.Key(pair.b->values);
}

/// The key of a Euclidean distance is its square.
template <typename Element>
Datum SquaredDistance(FunctionCallInfo fcinfo) {
  const VectorPair<Element> pair = PairArguments<Element>(fcinfo);
  float room[kQueryRoom<Element>];
  const vec::QueryDistance query(vec::Metric::kL2, QueryOf(pair.a, room), pair.dimensions);
  PG_RETURN_FLOAT8(query.Key(pair.b->values));
}

/// Angle between unit vectors as a fraction of pi; the arguments' norms are taken to be 1.
template <typename Element>
Datum SphericalDistance(FunctionCallInfo fcinfo) {
  const double cosine = InnerProduct<Element>(fcinfo);
  const double clamped = cosine > 1.0 ? 1.0 : (cosine < -1.0 ? -1.0 : cosine);  // NaN stays
  PG_RETURN_FLOAT8(std::acos(clamped) / M_PI);
}

}  // namespace

TANDEM_SQL_FUNCTION(tandem_l2_distance) {
  return MetricDistance<float>(fcinfo, vec::Metric::kL2);
}

TANDEM_SQL_FUNCTION(tandem_cosine_distance) {
  return MetricDistance<float>(fcinfo, vec::Metric::kCosine);
}

TANDEM_SQL_FUNCTION(tandem_l1_distance) {
  return MetricDistance<float>(fcinfo, vec::Metric::kL1);
}

TANDEM_SQL_FUNCTION(tandem_vector_negative_inner_product) {
  return MetricDistance<float>(fcinfo, vec::Metric::kInnerProduct);
}

TANDEM_SQL_FUNCTION(tandem_inner_product) {
  PG_RETURN_FLOAT8(InnerProduct<float>(fcinfo));
}

TANDEM_SQL_FUNCTION(tandem_vector_l2_squared_distance) {
  return SquaredDistance<float>(fcinfo);
}

TANDEM_SQL_FUNCTION(tandem_vector_spherical_distance) {
  return SphericalDistance<float>(fcinfo);
}

TANDEM_SQL_FUNCTION(tandem_halfvec_l2_distance) {
  return MetricDistance<Half>(fcinfo, vec::Metric::kL2);
}

TANDEM_SQL_FUNCTION(tandem_halfvec_cosine_distance) {
  return MetricDistance<Half>(fcinfo, vec::Metric::kCosine);
}

TANDEM_SQL_FUNCTION(tandem_halfvec_l1_distance) {
  return MetricDistance<Half>(fcinfo, vec::Metric::kL1);
}

TANDEM_SQL_FUNCTION(tandem_halfvec_negative_inner_product) {
  return MetricDistance<Half>(fcinfo, vec::Metric::kInnerProduct);
}

TANDEM_SQL_FUNCTION(tandem_halfvec_inner_product) {
  PG_RETURN_FLOAT8(InnerProduct<Half>(fcinfo));
}

TANDEM_SQL_FUNCTION(tandem_halfvec_l2_squared_distance) {
  return SquaredDistance<Half>(fcinfo);
}

TANDEM_SQL_FUNCTION(tandem_halfvec_spherical_distance) {
  return SphericalDistance<Half>(fcinfo);
}

}  // namespace tandem::sqlapi
