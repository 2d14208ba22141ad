// What searches tell the statistics: views, and the launcher, who shares memory out by it.

#include "pg/compat.hpp"

#include "am/search_state.hpp"
#include "shmem/search_counts.hpp"

extern "C" {
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_index.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
}

namespace tandem::am {

static Oid AccessMethodOf(Oid index) {
  const HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(index));
  if (!HeapTupleIsValid(tuple)) return InvalidOid;
  const Oid method = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple))->relam;
  ReleaseSysCache(tuple);
  return method;
}

/// The valid indexes of other access methods on the same table.
static shmem::Siblings ListSiblings(Relation index) {
  shmem::Siblings siblings = {};
  const Relation catalog = table_open(IndexRelationId, AccessShareLock);
  ScanKeyData key;
  ScanKeyInit(&key, Anum_pg_index_indrelid, BTEqualStrategyNumber, F_OIDEQ,
              ObjectIdGetDatum(index->rd_index->indrelid));
  const SysScanDesc scan = systable_beginscan(catalog, IndexIndrelidIndexId, true, nullptr, 1, &key);
  for (;;) {
    const HeapTuple tuple = systable_getnext(scan);
    if (!HeapTupleIsValid(tuple) || siblings.count == shmem::kMostSiblings) break;
    const auto* row = reinterpret_cast<Form_pg_index>(GETSTRUCT(tuple));
    if (row->indisvalid && AccessMethodOf(row->indexrelid) != index->rd_rel->relam)
      siblings.indexes[siblings.count++] = row->indexrelid;
  }
  systable_endscan(scan);
  table_close(catalog, AccessShareLock);
  return siblings;
}

void CountForStatistics(const Search& search) {
  if (search.index->rd_rel->relpersistence == RELPERSISTENCE_TEMP) return;
  // Rows by a filter alone are no search for anything near.
  if (search.filter != nullptr && !search.has_query) return;
  const SearchReport& report = search.report;
  shmem::SearchSample sample = {};
  sample.is_filtered = report.filtered > 0;
  sample.filters_asked = report.filter_evaluated;
  sample.reads = report.distances + report.lists;
  sample.reads_from_pages = report.codes_from_pages + report.lists_from_pages;
  sample.is_timed = search.is_timed;
  sample.microseconds = INSTR_TIME_GET_DOUBLE(report.time) * 1e6;
  if (shmem::CountSearch(report.index, sample)) shmem::SetSiblings(report.index, ListSiblings(search.index));
}

}  // namespace tandem::am
