// What an owner can ask of an index row by row, page by page: tandem_verify(), tandem_rows().

#include "pg/compat.hpp"

#include "sqlapi/index_access.hpp"
#include "storage/flat_relation.hpp"
#include "storage/verify.hpp"

extern "C" {
#include "funcapi.h"
#include "utils/guc.h"

PGDLLEXPORT Datum tandem_verify(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum tandem_rows(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(tandem_verify);
PG_FUNCTION_INFO_V1(tandem_rows);
}

namespace tandem::sqlapi {

namespace {

void ReportProblem(void* state, BlockNumber block, const char* problem) {
  auto* result = static_cast<ReturnSetInfo*>(state);
  Datum values[2] = {Int64GetDatum(block), CStringGetTextDatum(problem)};
  bool nulls[2] = {block == InvalidBlockNumber, false};
  tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/// Compares with the heap as the table's owner, in a restricted context, as VACUUM and REINDEX work: the index's
/// expressions and predicate are functions that the owner chose, and the caller may be a superuser (H34).
/// After an error the end of the transaction puts the user back.
void VerifyAgainstHeapAsOwner(const OpenIndex& open, void* result) {
  Oid caller;
  int security_context;
  GetUserIdAndSecContext(&caller, &security_context);
  SetUserIdAndSecContext(open.heap->rd_rel->relowner, security_context | SECURITY_RESTRICTED_OPERATION);
  const int settings = NewGUCNestLevel();
  storage::VerifyAgainstHeap(open.index, open.heap, ReportProblem, result);
  AtEOXact_GUC(false, settings);
  SetUserIdAndSecContext(caller, security_context);
}

/// One stream being returned by tandem_rows().
struct RowsOutput {
  ReturnSetInfo* result;
  bool has_vector;
};

void ReportRow(void* state, uint64 row, const storage::RowHead& head) {
  const auto* output = static_cast<const RowsOutput*>(state);
  ItemPointerData tid = head.tid;
  Datum values[4] = {Int64GetDatum(static_cast<int64>(row)), PointerGetDatum(&tid),
                     BoolGetDatum((head.flags & storage::kTombstone) != 0), BoolGetDatum(output->has_vector)};
  bool nulls[4] = {!output->has_vector, false, false, false};
  tuplestore_putvalues(output->result->setResult, output->result->setDesc, values, nulls);
}

}  // namespace

}  // namespace tandem::sqlapi

using namespace tandem;

Datum tandem_verify(PG_FUNCTION_ARGS) {
  const Oid index_oid = PG_GETARG_OID(0);
  const bool heap_check = PG_GETARG_BOOL(1);
  pg::InitMaterializedResult(fcinfo);
  const sqlapi::OpenIndex open = sqlapi::OpenOwnedIndex(index_oid, AccessShareLock);
  storage::VerifyPages(open.index, open.heap, sqlapi::ReportProblem, fcinfo->resultinfo);
  if (heap_check) sqlapi::VerifyAgainstHeapAsOwner(open, fcinfo->resultinfo);
  sqlapi::CloseIndex(open);
  return static_cast<Datum>(0);
}

Datum tandem_rows(PG_FUNCTION_ARGS) {
  const Oid index_oid = PG_GETARG_OID(0);
  pg::InitMaterializedResult(fcinfo);
  const sqlapi::OpenIndex open = sqlapi::OpenOwnedIndex(index_oid, AccessShareLock);
  sqlapi::RowsOutput output = {reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo), true};
  storage::VisitHeads(open.index, storage::kHeadStream, sqlapi::ReportRow, &output);
  output.has_vector = false;
  storage::VisitHeads(open.index, storage::kNullHeadStream, sqlapi::ReportRow, &output);
  sqlapi::CloseIndex(open);
  return static_cast<Datum>(0);
}
