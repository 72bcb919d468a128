/* The stream of choices: drawn from a seed and recorded, or replayed. See sim.h. */
#include "sim.h"

#define CHOICES_LIMIT 400000u /* a run that asks for more only gets tame answers, so it ends */

static struct {
  uint64_t state;
  uint32_t made[CHOICES_LIMIT];
  size_t count;
  const uint32_t *replayed;
  size_t replayed_count;
  bool replaying;
} stream;

static uint64_t next_random(void) { /* splitmix64 */
  uint64_t z = stream.state += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

void choice_seed(uint64_t seed) {
  stream.state = seed * 0x2545f4914f6cdd1du + 1;
  stream.count = 0;
  stream.replaying = false;
}

void choice_replay(const uint32_t *values, size_t count) {
  stream.count = 0;
  stream.replayed = values;
  stream.replayed_count = count;
  stream.replaying = true;
}

static uint32_t made(uint32_t what) {
  if (stream.count < CHOICES_LIMIT)
    stream.made[stream.count++] = what;
  return what;
}

static uint32_t replayed(uint32_t n) { return stream.count < stream.replayed_count ? stream.replayed[stream.count] % n : 0; }

uint32_t pick(uint32_t n) {
  if (n <= 1 || stream.count == CHOICES_LIMIT)
    return 0;
  return made(stream.replaying ? replayed(n) : (uint32_t)((next_random() >> 32) * n >> 32));
}

bool chance(uint32_t in_1000) {
  if (!in_1000 || stream.count == CHOICES_LIMIT)
    return false;
  return made(stream.replaying ? replayed(2) : (next_random() >> 32) % 1000 < in_1000);
}

const uint32_t *choice_made(size_t *ret_count) {
  *ret_count = stream.count;
  return stream.made;
}
