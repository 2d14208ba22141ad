// Puts the access method's callbacks together.

#include "pg/compat.hpp"

#include <cstring>

#include "am/callbacks.hpp"
#include "am/options.hpp"

extern "C" {
#include "catalog/pg_type.h"
#include "utils/syscache.h"
PGDLLEXPORT Datum tandem_handler(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum tandem_vector_l2_metric(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum tandem_vector_ip_metric(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum tandem_vector_cosine_metric(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum tandem_vector_l1_metric(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum tandem_halfvec_l2_metric(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum tandem_halfvec_ip_metric(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum tandem_halfvec_cosine_metric(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum tandem_halfvec_l1_metric(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum tandem_sparsevec_l2_metric(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum tandem_sparsevec_ip_metric(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum tandem_sparsevec_cosine_metric(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum tandem_sparsevec_l1_metric(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum tandem_bit_hamming_metric(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum tandem_bit_jaccard_metric(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(tandem_handler);
PG_FUNCTION_INFO_V1(tandem_vector_l2_metric);
PG_FUNCTION_INFO_V1(tandem_vector_ip_metric);
PG_FUNCTION_INFO_V1(tandem_vector_cosine_metric);
PG_FUNCTION_INFO_V1(tandem_vector_l1_metric);
PG_FUNCTION_INFO_V1(tandem_halfvec_l2_metric);
PG_FUNCTION_INFO_V1(tandem_halfvec_ip_metric);
PG_FUNCTION_INFO_V1(tandem_halfvec_cosine_metric);
PG_FUNCTION_INFO_V1(tandem_halfvec_l1_metric);
PG_FUNCTION_INFO_V1(tandem_sparsevec_l2_metric);
PG_FUNCTION_INFO_V1(tandem_sparsevec_ip_metric);
PG_FUNCTION_INFO_V1(tandem_sparsevec_cosine_metric);
PG_FUNCTION_INFO_V1(tandem_sparsevec_l1_metric);
PG_FUNCTION_INFO_V1(tandem_bit_hamming_metric);
PG_FUNCTION_INFO_V1(tandem_bit_jaccard_metric);
}

namespace tandem::am {

Distance DistanceOf(Relation index) {
  FmgrInfo* info = index_getprocinfo(index, 1, kMetricProc);
  const Datum distance = FunctionCall1Coll(info, InvalidOid, Datum{0});
  return *static_cast<const Distance*>(static_cast<const void*>(DatumGetPointer(distance)));
}

/// The extension's type whose values are made of these elements.
static const char* TypeOf(vec::Element element) {
  switch (element) {
    case vec::Element::kFloat32:
      return "vector";
    case vec::Element::kFloat16:
      return "halfvec";
    case vec::Element::kSparse:
      return "sparsevec";
    case vec::Element::kBit:
      break;
  }
  return "bit";
}

bool IsElementOf(Oid type, vec::Element element) {
  if (type == BITOID || element == vec::Element::kBit) return type == BITOID && element == vec::Element::kBit;
  const HeapTuple tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
  if (!HeapTupleIsValid(tuple)) return false;
  const char* name = NameStr(reinterpret_cast<Form_pg_type>(GETSTRUCT(tuple))->typname);
  const bool matches = std::strcmp(name, TypeOf(element)) == 0;
  ReleaseSysCache(tuple);
  return matches;
}

template <vec::Metric kMetric, vec::Element kElement>
static Datum DistanceDatum() {
  static constexpr Distance kDistance = {kMetric, kElement};
  return PointerGetDatum(&kDistance);
}

}  // namespace tandem::am

using namespace tandem;

Datum tandem_vector_l2_metric(PG_FUNCTION_ARGS) {
  return am::DistanceDatum<vec::Metric::kL2, vec::Element::kFloat32>();
}
Datum tandem_vector_ip_metric(PG_FUNCTION_ARGS) {
  return am::DistanceDatum<vec::Metric::kInnerProduct, vec::Element::kFloat32>();
}
Datum tandem_vector_cosine_metric(PG_FUNCTION_ARGS) {
  return am::DistanceDatum<vec::Metric::kCosine, vec::Element::kFloat32>();
}
Datum tandem_vector_l1_metric(PG_FUNCTION_ARGS) {
  return am::DistanceDatum<vec::Metric::kL1, vec::Element::kFloat32>();
}
Datum tandem_halfvec_l2_metric(PG_FUNCTION_ARGS) {
  return am::DistanceDatum<vec::Metric::kL2, vec::Element::kFloat16>();
}
Datum tandem_halfvec_ip_metric(PG_FUNCTION_ARGS) {
  return am::DistanceDatum<vec::Metric::kInnerProduct, vec::Element::kFloat16>();
}
Datum tandem_halfvec_cosine_metric(PG_FUNCTION_ARGS) {
  return am::DistanceDatum<vec::Metric::kCosine, vec::Element::kFloat16>();
}
Datum tandem_halfvec_l1_metric(PG_FUNCTION_ARGS) {
  return am::DistanceDatum<vec::Metric::kL1, vec::Element::kFloat16>();
}
Datum tandem_sparsevec_l2_metric(PG_FUNCTION_ARGS) {
  return am::DistanceDatum<vec::Metric::kL2, vec::Element::kSparse>();
}
Datum tandem_sparsevec_ip_metric(PG_FUNCTION_ARGS) {
  return am::DistanceDatum<vec::Metric::kInnerProduct, vec::Element::kSparse>();
}
Datum tandem_sparsevec_cosine_metric(PG_FUNCTION_ARGS) {
  return am::DistanceDatum<vec::Metric::kCosine, vec::Element::kSparse>();
}
Datum tandem_sparsevec_l1_metric(PG_FUNCTION_ARGS) {
  return am::DistanceDatum<vec::Metric::kL1, vec::Element::kSparse>();
}
// What stands for them: vec/row_distance.hpp.
Datum tandem_bit_hamming_metric(PG_FUNCTION_ARGS) {
  return am::DistanceDatum<vec::Metric::kL2, vec::Element::kBit>();
}
Datum tandem_bit_jaccard_metric(PG_FUNCTION_ARGS) {
  return am::DistanceDatum<vec::Metric::kCosine, vec::Element::kBit>();
}

Datum tandem_handler(PG_FUNCTION_ARGS) {
  IndexAmRoutine* routine = makeNode(IndexAmRoutine);
  routine->amstrategies = 0;
  routine->amsupport = am::kSupportProcs;
  routine->amoptsprocnum = 0;
  routine->amcanorder = false;
  routine->amcanorderbyop = true;
  routine->amcanbackward = false;
  routine->amcanunique = false;
  routine->amcanmulticol = false;
  routine->amoptionalkey = true;
  routine->amsearcharray = false;
  routine->amsearchnulls = false;
  routine->amstorage = false;
  routine->amclusterable = false;
  routine->ampredlocks = false;
  routine->amcanparallel = false;
  routine->amcaninclude = false;
  routine->amusemaintenanceworkmem = false;
  // Bulk delete may run in a parallel vacuum worker: it only sets flags on pages.
  routine->amparallelvacuumoptions = VACUUM_OPTION_PARALLEL_BULKDEL;
  routine->amkeytype = InvalidOid;

  routine->ambuild = am::Build;
  routine->ambuildempty = am::BuildEmpty;
  routine->aminsert = am::Insert;
  routine->ambulkdelete = am::BulkDelete;
  routine->amvacuumcleanup = am::VacuumCleanup;
  routine->amcanreturn = nullptr;
  routine->amcostestimate = am::CostEstimate;
  routine->amoptions = am::ParseIndexOptions;
  routine->amproperty = nullptr;
  routine->ambuildphasename = am::BuildPhaseName;
  routine->amvalidate = am::Validate;
  routine->amadjustmembers = nullptr;
  routine->ambeginscan = am::BeginScan;
  routine->amrescan = am::Rescan;
  routine->amgettuple = am::GetTuple;
  routine->amgetbitmap = nullptr;
  routine->amendscan = am::EndScan;
  routine->ammarkpos = nullptr;
  routine->amrestrpos = nullptr;
  routine->amestimateparallelscan = nullptr;
  routine->aminitparallelscan = nullptr;
  routine->amparallelrescan = nullptr;
  PG_RETURN_POINTER(routine);
}
