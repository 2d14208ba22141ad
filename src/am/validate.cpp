// amvalidate: an operator class has its metric function and one ordering operator that returns float8.

#include "pg/pg.hpp"

#include "am/callbacks.hpp"
#include "am/scan.hpp"

extern "C" {
#include "access/amvalidate.h"
#include "access/htup_details.h"
#include "catalog/pg_amop.h"
#include "catalog/pg_amproc.h"
#include "catalog/pg_opclass.h"
#include "catalog/pg_opfamily.h"
#include "catalog/pg_type.h"
#include "utils/catcache.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/syscache.h"
}

namespace tandem::am {

namespace {

struct ClassUnderTest {
  const char* family_name;
  Oid input_type;
  bool valid;
  bool has_metric;
  bool has_operator;
};

#define REPORT(...)                                                                   \
  do {                                                                                \
    ereport(INFO, (errcode(ERRCODE_INVALID_OBJECT_DEFINITION), errmsg(__VA_ARGS__))); \
    under_test->valid = false;                                                        \
  } while (0)

const char* FamilyName(Oid family) {
  const HeapTuple tuple = SearchSysCache1(OPFAMILYOID, ObjectIdGetDatum(family));
  if (!HeapTupleIsValid(tuple)) elog(ERROR, "cache lookup failed for operator family %u", family);
  const char* name = pstrdup(NameStr(reinterpret_cast<Form_pg_opfamily>(GETSTRUCT(tuple))->opfname));
  ReleaseSysCache(tuple);
  return name;
}

void CheckFunction(const Form_pg_amproc entry, ClassUnderTest* under_test) {
  if (entry->amprocnum != kMetricProc) {
    REPORT(
        "operator family \"%s\" of access method tandem contains function %s with invalid support number %d",
        under_test->family_name, format_procedure(entry->amproc), entry->amprocnum);
    return;
  }
  if (!check_amproc_signature(entry->amproc, INTERNALOID, true, 1, 1, INTERNALOID))
    REPORT(
        "operator family \"%s\" of access method tandem contains function %s with wrong signature for "
        "support number %d",
        under_test->family_name, format_procedure(entry->amproc), entry->amprocnum);
  if (entry->amproclefttype == under_test->input_type) under_test->has_metric = true;
}

void CheckOperator(const Form_pg_amop entry, ClassUnderTest* under_test) {
  if (entry->amopstrategy != kDistanceStrategy)
    REPORT(
        "operator family \"%s\" of access method tandem contains operator %s with invalid strategy number %d",
        under_test->family_name, format_operator(entry->amopopr), entry->amopstrategy);
  if (entry->amoppurpose != AMOP_ORDER || get_op_rettype(entry->amopopr) != FLOAT8OID ||
      !opfamily_can_sort_type(entry->amopsortfamily, FLOAT8OID))
    REPORT(
        "operator family \"%s\" of access method tandem contains invalid ORDER BY specification for operator "
        "%s",
        under_test->family_name, format_operator(entry->amopopr));
  if (!check_amop_signature(entry->amopopr, FLOAT8OID, entry->amoplefttype, entry->amoprighttype))
    REPORT("operator family \"%s\" of access method tandem contains operator %s with wrong signature",
           under_test->family_name, format_operator(entry->amopopr));
  if (entry->amoplefttype == under_test->input_type) under_test->has_operator = true;
}

}  // namespace

bool Validate(Oid opclass) {
  const HeapTuple class_tuple = SearchSysCache1(CLAOID, ObjectIdGetDatum(opclass));
  if (!HeapTupleIsValid(class_tuple)) elog(ERROR, "cache lookup failed for operator class %u", opclass);
  const auto form = reinterpret_cast<Form_pg_opclass>(GETSTRUCT(class_tuple));
  const Oid family = form->opcfamily;
  ClassUnderTest test = {FamilyName(family), form->opcintype, true, false, false};
  ClassUnderTest* under_test = &test;

  CatCList* functions = SearchSysCacheList1(AMPROCNUM, ObjectIdGetDatum(family));
  for (int i = 0; i < functions->n_members; i++)
    CheckFunction(reinterpret_cast<Form_pg_amproc>(GETSTRUCT(&functions->members[i]->tuple)), under_test);
  CatCList* operators = SearchSysCacheList1(AMOPSTRATEGY, ObjectIdGetDatum(family));
  for (int i = 0; i < operators->n_members; i++)
    CheckOperator(reinterpret_cast<Form_pg_amop>(GETSTRUCT(&operators->members[i]->tuple)), under_test);

  if (!test.has_metric)
    REPORT("operator class \"%s\" of access method tandem is missing support function %d",
           NameStr(form->opcname), kMetricProc);
  if (!test.has_operator)
    REPORT("operator class \"%s\" of access method tandem is missing operator %d", NameStr(form->opcname),
           kDistanceStrategy);

  ReleaseCatCacheList(operators);
  ReleaseCatCacheList(functions);
  ReleaseSysCache(class_tuple);
  return test.valid;
}

}  // namespace tandem::am
