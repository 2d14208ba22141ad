// Why an answer may be kept, and until when, is in README.md ("Filter sets that are kept"). What decides here is that the key holds
// everything that the answer depends on:
//
//   index       its OID and its file: another one after REINDEX, TRUNCATE, a rewrite; the same file can go on under another OID
//   scan keys   flags, column, strategy, value's type, collation, operator's function, and unless it is NULL, the value
//
// and that nothing else can change it: operators and the access method's support functions are IMMUTABLE, and the access method is
// one of the server's that give each heap tuple entries of its own. BRIN does not: from PostgreSQL 16 on its columns do
// not keep an update from being HOT.

#include "pg/compat.hpp"

#include "am/term_scan.hpp"

#include <algorithm>
#include <type_traits>

#include "pg/guard.hpp"
#include "pg/heap_tid.hpp"

extern "C" {
#include "access/hash.h"
#include "access/nbtree.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
}

namespace tandem::am {

namespace {

// ---- What an answer depends on ----

bool IsImmutable(Oid function) {
  return !OidIsValid(function) || func_volatile(function) == PROVOLATILE_IMMUTABLE;
}

/// Support functions that scans call, from 1 on; 0: any. Those of btree beyond are for sorting and for window frames, and
/// in_range() of timestamps is only STABLE.
int SupportFunctionsUsed(Oid handler) {
  switch (handler) {
    case F_BTHANDLER:
      return BTORDER_PROC;
    case F_HASHHANDLER:
      return HASHSTANDARD_PROC;
    default:
      return 0;
  }
}

bool HasImmutableSupport(Relation index) {
  const int support = index->rd_indam->amsupport;
  const int used = SupportFunctionsUsed(index->rd_amhandler);
  for (int column = 0; column < IndexRelationGetNumberOfKeyAttributes(index); column++)
    for (int i = 0; i < (used > 0 ? used : support); i++)
      if (!IsImmutable(index->rd_support[column * support + i])) return false;
  return true;
}

bool GivesEachTupleEntries(Oid handler) {
  return handler == F_BTHANDLER || handler == F_HASHHANDLER || handler == F_GINHANDLER ||
         handler == F_GISTHANDLER || handler == F_SPGHANDLER;
}

/// Of `anyelement` nothing is known but its name: a value may be a pointer. What a record is, a number says that is the process's own.
bool IsOfKnownType(Oid type) {
  return type != ANYELEMENTOID && type != ANYNONARRAYOID && type != ANYCOMPATIBLEOID && type != RECORDOID &&
         type != RECORDARRAYOID;
}

bool SaysAll(const ScanKeyData& key) {
  return IsOfKnownType(key.sk_subtype) && (key.sk_flags & SK_ROW_HEADER) == 0 &&
         IsImmutable(key.sk_func.fn_oid);
}

// ---- Writing ----

template <typename T>
void Append(StringInfo key, const T& value) {
  static_assert(std::has_unique_object_representations_v<T>);
  appendBinaryStringInfo(key, reinterpret_cast<const char*>(&value), sizeof value);
}

void AppendBytes(StringInfo key, const void* bytes, Size size) {
  Append(key, static_cast<uint64>(size));
  appendBinaryStringInfo(key, static_cast<const char*>(bytes), static_cast<int>(size));
}

void AppendVarlena(StringInfo key, Datum value) {
  const auto* plain = reinterpret_cast<struct varlena*>(PG_DETOAST_DATUM_PACKED(value));
  AppendBytes(key, VARDATA_ANY(plain), VARSIZE_ANY_EXHDR(plain));
}

void AppendValue(StringInfo key, const ScanKeyData& scan_key) {
  if ((scan_key.sk_flags & SK_SEARCHARRAY) != 0) {
    AppendVarlena(key, scan_key.sk_argument);
    return;
  }
  int16 length;
  bool by_value;
  get_typlenbyval(scan_key.sk_subtype, &length, &by_value);
  if (by_value)
    Append(key, static_cast<uint64>(scan_key.sk_argument));
  else if (length == -1)
    AppendVarlena(key, scan_key.sk_argument);
  else if (length == -2)
    AppendBytes(key, DatumGetCString(scan_key.sk_argument),
                std::strlen(DatumGetCString(scan_key.sk_argument)));
  else
    AppendBytes(key, DatumGetPointer(scan_key.sk_argument), static_cast<Size>(length));
}

/// In front of the scan keys.
struct TermIndex {
  Oid index;
  Oid tablespace;
  Oid file;
};
static_assert(std::has_unique_object_representations_v<TermIndex>);

/// Of a scan key, in front of its value.
struct TermScanKey {
  int32 flags;
  AttrNumber column;
  StrategyNumber strategy;
  Oid type;
  Oid collation;
  Oid function;
};
static_assert(std::has_unique_object_representations_v<TermScanKey>);

// ---- Reading ----

/// Takes things from the front of some bytes, as long as there are any.
class Reader {
 public:
  explicit Reader(base::Span<const char> bytes) : at_(bytes.begin()), end_(bytes.end()) {}

  [[nodiscard]] bool is_at_end() const { return at_ == end_; }

  template <typename T>
  [[nodiscard]] bool Take(T* to) {
    if (Left() < sizeof *to) return false;
    std::memcpy(to, at_, sizeof *to);
    at_ += sizeof *to;
    return true;
  }

  /// As AppendBytes() has written them.
  [[nodiscard]] bool TakeBytes(base::Span<const char>* to) {
    uint64 size;
    if (!Take(&size) || Left() < size) return false;
    *to = {at_, size};
    at_ += size;
    return true;
  }

 private:
  [[nodiscard]] Size Left() const { return static_cast<Size>(end_ - at_); }

  const char* at_;
  const char* end_;
};

Datum MakeVarlena(base::Span<const char> bytes) {
  auto* value = static_cast<struct varlena*>(palloc(VARHDRSZ + bytes.size()));
  SET_VARSIZE(value, VARHDRSZ + bytes.size());
  std::memcpy(VARDATA(value), bytes.data(), bytes.size());
  return PointerGetDatum(value);
}

/// Of a type that is no varlena, or of a C string, which needs a byte that ends it.
Datum MakePlain(base::Span<const char> bytes) {
  auto* value = static_cast<char*>(palloc(bytes.size() + 1));
  std::memcpy(value, bytes.data(), bytes.size());
  value[bytes.size()] = '\0';
  return PointerGetDatum(value);
}

bool TakeValue(Reader* reader, const TermScanKey& key, Datum* value) {
  const int16 length = get_typlen(key.type);  // 0: there is no such type any more
  if (length == 0) return false;
  const bool is_array = (key.flags & SK_SEARCHARRAY) != 0;
  if (!is_array && get_typbyval(key.type)) {
    uint64 plain;
    if (!reader->Take(&plain)) return false;
    *value = static_cast<Datum>(plain);
    return true;
  }
  base::Span<const char> bytes;
  if (!reader->TakeBytes(&bytes)) return false;
  if (!is_array && length > 0 && bytes.size() != static_cast<Size>(length)) return false;
  *value = is_array || length == -1 ? MakeVarlena(bytes) : MakePlain(bytes);
  return true;
}

bool IsIndexedFor(Relation index, const TermScanKey& key) {
  constexpr int kFlags = SK_ISNULL | SK_SEARCHARRAY | SK_SEARCHNULL | SK_SEARCHNOTNULL;
  if ((key.flags & ~kFlags) != 0 || key.column < 1 ||
      key.column > IndexRelationGetNumberOfKeyAttributes(index))
    return false;
  if ((key.flags & (SK_SEARCHNULL | SK_SEARCHNOTNULL)) != 0) return !OidIsValid(key.function);
  const int column = key.column - 1;
  const Oid oper = get_opfamily_member(index->rd_opfamily[column], index->rd_opcintype[column], key.type,
                                       static_cast<int16>(key.strategy));
  return OidIsValid(oper) && get_opcode(oper) == key.function;
}

bool TakeScanKey(Reader* reader, Relation index, ScanKeyData* to) {
  TermScanKey key;
  Datum value = 0;
  if (!reader->Take(&key) || !IsIndexedFor(index, key)) return false;
  if ((key.flags & SK_ISNULL) == 0 && !TakeValue(reader, key, &value)) return false;
  ScanKeyEntryInitialize(to, key.flags, key.column, key.strategy, key.type, key.collation, key.function,
                         value);
  return true;
}

}  // namespace

bool KeysSayAll(Relation index, const ScanKeyData* keys, int count) {
  if (!GivesEachTupleEntries(index->rd_amhandler) || !HasImmutableSupport(index)) return false;
  return std::all_of(keys, keys + count, SaysAll);
}

base::Span<const char> WriteTermKey(Relation index, const ScanKeyData* keys, int count,
                                    const Datum* instead) {
  const pg::RelationFile file = pg::FileOf(index);
  StringInfoData key;
  initStringInfo(&key);
  Append(&key, TermIndex{RelationGetRelid(index), file.tablespace, file.number});
  for (int i = 0; i < count; i++) {
    ScanKeyData scan_key = keys[i];
    if (instead != nullptr) scan_key.sk_argument = *instead;
    Append(&key, TermScanKey{scan_key.sk_flags, scan_key.sk_attno, scan_key.sk_strategy, scan_key.sk_subtype,
                             scan_key.sk_collation, scan_key.sk_func.fn_oid});
    if ((scan_key.sk_flags & SK_ISNULL) == 0) AppendValue(&key, scan_key);
  }
  return {key.data, static_cast<std::size_t>(key.len)};
}

Oid IndexOfTermKey(base::Span<const char> key) {
  Reader reader(key);
  TermIndex head;
  return reader.Take(&head) ? head.index : InvalidOid;
}

bool ReadTermKey(base::Span<const char> key, Relation index, ScanKeys* to) {
  Reader reader(key);
  TermIndex head;
  const pg::RelationFile file = pg::FileOf(index);
  if (!reader.Take(&head) || head.index != RelationGetRelid(index) || head.tablespace != file.tablespace ||
      head.file != file.number)
    return false;
  // None takes less.
  const Size most = key.size() / sizeof(TermScanKey) + 1;
  *to = {static_cast<ScanKeyData*>(palloc(most * sizeof(ScanKeyData))), 0};
  while (!reader.is_at_end())
    if (!TakeScanKey(&reader, index, &to->keys[to->count++])) return false;
  return true;
}

void AddBitmap(TIDBitmap* bitmap, base::TidSet* set) {
  pg::VisitBitmap(bitmap, [set](BlockNumber block, const OffsetNumber* offsets, int count) {
    pg::Guard([=] {
      if (offsets == nullptr) set->AddWholeBlock(block);
      for (int i = 0; offsets != nullptr && i < count; i++) set->AddTid(pg::ToHeapTid(block, offsets[i]));
    });
  });
}

}  // namespace tandem::am
