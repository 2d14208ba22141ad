#pragma once
// The index access method's callbacks, one file per family; handler.cpp puts them together.

#include "pg/pg.hpp"

extern "C" {
#include "access/amapi.h"
#include "access/genam.h"
#include "nodes/execnodes.h"
#include "nodes/pathnodes.h"
}

#include "vec/element.hpp"
#include "vec/metric.hpp"

namespace tandem::am {

/// What an operator class is about.
struct Distance {
  vec::Metric metric;
  vec::Element element;  ///< of the class's type
};

/// The amgetprocs number of the function that names an operator class's distance: takes and returns internal,
/// the result is a `const Distance*`.
constexpr uint16 kMetricProc = 1;
constexpr uint16 kSupportProcs = 1;

[[nodiscard]] Distance DistanceOf(Relation index);
/// True if values of the type are made of it. The extension's types are told by their names, in whatever schema.
[[nodiscard]] bool IsElementOf(Oid type, vec::Element element);

// build.cpp
/// Dimensions that the type of the index's column asks for, also through a domain; 0 if none.
[[nodiscard]] int ColumnDimensions(Relation index);
IndexBuildResult* Build(Relation heap, Relation index, IndexInfo* info);
void BuildEmpty(Relation index);
char* BuildPhaseName(int64 phase);

// insert.cpp
bool Insert(Relation index, Datum* values, bool* isnull, ItemPointer tid, Relation heap,
            IndexUniqueCheck check_unique, bool index_unchanged, IndexInfo* info);

// vacuum.cpp
IndexBulkDeleteResult* BulkDelete(IndexVacuumInfo* info, IndexBulkDeleteResult* stats,
                                  IndexBulkDeleteCallback callback, void* callback_state);
IndexBulkDeleteResult* VacuumCleanup(IndexVacuumInfo* info, IndexBulkDeleteResult* stats);

// cost.cpp
void CostEstimate(PlannerInfo* root, IndexPath* path, double loop_count, Cost* startup_cost, Cost* total_cost,
                  Selectivity* selectivity, double* correlation, double* pages);

// validate.cpp
bool Validate(Oid opclass);

// scan.cpp
IndexScanDesc BeginScan(Relation index, int nkeys, int norderbys);
void Rescan(IndexScanDesc scan, ScanKey keys, int nkeys, ScanKey orderbys, int norderbys);
bool GetTuple(IndexScanDesc scan, ScanDirection direction);
void EndScan(IndexScanDesc scan);

}  // namespace tandem::am
