#include "pg/compat.hpp"

#include "worker/filter_file.hpp"

#include <algorithm>

#include "pg/stop_point.hpp"
#include "shmem/filter_cache.hpp"
#include "worker/state_file.hpp"

extern "C" {
#include "common/hashfn.h"
#include "lib/stringinfo.h"
}

namespace tandem::worker {

namespace {

constexpr uint32 kMostFilters = 1024;
constexpr Size kMostBytes = Size{1} << 20;
// What making it again would take less than is as well made by who asks for it.
constexpr float kNextToNothing = 1000;

constexpr StateFile kFile = {"pg_stat/tandem.filters",
                             "pg_stat/tandem.filters.tmp",
                             UINT64CONST(0x54414E4446494C54),
                             1,
                             true,
                             "Sets of filters are made again by the first query of each."};

/// In front of a key's bytes.
struct Entry {
  Oid database;
  uint32 size;
  float worth_us;
};

bool IsSame(const PastFilter& a, const PastFilter& b) {
  return a.database == b.database && a.key.size() == b.key.size() &&
         std::memcmp(a.key.data(), b.key.data(), a.key.size()) == 0;
}

uint64 HashOf(const PastFilter& filter) {
  return hash_bytes_extended(reinterpret_cast<const unsigned char*>(filter.key.data()),
                             static_cast<int>(filter.key.size()), filter.database);
}

/// Filters, and which of them there are.
struct Filters {
  PastFilter filters[2 * kMostFilters];
  uint64 hashes[2 * kMostFilters];
  uint32 count;
};

PastFilter* Find(Filters* all, const PastFilter& filter, uint64 hash) {
  for (uint32 i = 0; i < all->count; i++)
    if (all->hashes[i] == hash && IsSame(all->filters[i], filter)) return &all->filters[i];
  return nullptr;
}

/// Who is there already is worth the most of the two: a set that was just made again has been used by nobody yet.
void Add(const PastFilter& filter, Filters* all) {
  const uint64 hash = HashOf(filter);
  PastFilter* known = Find(all, filter, hash);
  if (known != nullptr) known->worth_us = Max(known->worth_us, filter.worth_us);
  if (known != nullptr || all->count == 2 * kMostFilters) return;
  all->filters[all->count] = filter;
  all->hashes[all->count++] = hash;
}

void AddPresent(Filters* all) {
  auto* hot = static_cast<shmem::HotFilter*>(palloc(sizeof(shmem::HotFilter) * kMostFilters));
  auto* bytes = static_cast<char*>(palloc(kMostBytes));
  const uint32 count = shmem::ListHotFilters(hot, kMostFilters, bytes, kMostBytes);
  for (uint32 i = 0; i < count; i++)
    if (hot[i].worth_us > kNextToNothing || pg::IsSwitchedOn("all-filters-hot"))
      Add({hot[i].database, hot[i].worth_us, {bytes + hot[i].at, hot[i].size}}, all);
}

void AddPast(Filters* all) {
  for (PastFilter filter : ReadFilterFile()) {
    filter.worth_us /= 2;
    if (filter.worth_us > kNextToNothing) Add(filter, all);
  }
}

/// As many as there may be, the hottest first.
base::Span<const char> Serialize(Filters* all) {
  std::sort(all->filters, all->filters + all->count,
            [](const PastFilter& a, const PastFilter& b) { return a.worth_us > b.worth_us; });
  StringInfoData content;
  initStringInfo(&content);
  for (uint32 i = 0; i < Min(all->count, kMostFilters); i++) {
    const PastFilter& filter = all->filters[i];
    const Entry entry = {filter.database, static_cast<uint32>(filter.key.size()), filter.worth_us};
    if (static_cast<Size>(content.len) + sizeof entry + filter.key.size() > kMostBytes) break;
    appendBinaryStringInfo(&content, reinterpret_cast<const char*>(&entry), sizeof entry);
    appendBinaryStringInfo(&content, filter.key.data(), static_cast<int>(filter.key.size()));
  }
  return {content.data, static_cast<std::size_t>(content.len)};
}

}  // namespace

void RemoveFilterFile() {
  RemoveStateFile(kFile);
}

void WriteFilterFile() {
  if (!shmem::FilterCacheExists()) return;
  const MemoryContext context =
      AllocSetContextCreate(CurrentMemoryContext, "tandem filter file", ALLOCSET_DEFAULT_SIZES);
  const MemoryContext old_context = MemoryContextSwitchTo(context);
  auto* all = static_cast<Filters*>(palloc(sizeof(Filters)));
  all->count = 0;
  AddPresent(all);
  AddPast(all);
  WriteStateFile(kFile, Serialize(all));
  MemoryContextSwitchTo(old_context);
  MemoryContextDelete(context);
}

base::Span<const PastFilter> ReadFilterFile() {
  const base::Span<const char> content = ReadStateFile(kFile, kMostBytes);
  auto* filters = static_cast<PastFilter*>(palloc(sizeof(PastFilter) * kMostFilters));
  uint32 count = 0;
  const char* at = content.begin();
  while (count<kMostFilters&& static_cast<Size>(content.end() - at)> sizeof(Entry)) {
    Entry entry;
    std::memcpy(&entry, at, sizeof entry);
    at += sizeof entry;
    if (static_cast<Size>(content.end() - at) < entry.size) break;
    filters[count++] = {entry.database, entry.worth_us, {at, entry.size}};
    at += entry.size;
  }
  return {filters, count};
}

}  // namespace tandem::worker
