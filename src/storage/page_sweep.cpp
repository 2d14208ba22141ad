#include "pg/compat.hpp"

#include "storage/page_sweep.hpp"

namespace tandem::storage {

/// For the server: the stream's next block. Nothing is read here.
static BlockNumber NextOfSweep(ReadStream* /*stream*/, void* state, void* /*unused*/) {
  auto* sweep = static_cast<PageSweep*>(state);
  if (sweep->told == sweep->end) return InvalidBlockNumber;
  return sweep->map.block_of(sweep->map.pages, sweep->told++);
}

void BeginSweep(PageSweep* sweep, Relation relation, BufferAccessStrategy strategy, const PageMap& map,
                uint32 first, uint32 end) {
  EndSweep(sweep);
  if (first >= end) return;
  *sweep = {nullptr, map, first, first, end};
  sweep->stream = pg::BeginBlockStream(relation, strategy, NextOfSweep, sweep);
}

Buffer TakeFromSweep(PageSweep* sweep, uint32 page) {
  if (sweep->stream == nullptr || page < sweep->next || page >= sweep->end) return InvalidBuffer;
  for (;;) {
    const Buffer buffer = pg::NextOfStream(sweep->stream);
    if (!BufferIsValid(buffer) || sweep->next++ == page) return buffer;
    ReleaseBuffer(buffer);
  }
}

void EndSweep(PageSweep* sweep) {
  if (sweep->stream != nullptr) pg::EndBlockStream(sweep->stream);
  sweep->stream = nullptr;
}

}  // namespace tandem::storage
