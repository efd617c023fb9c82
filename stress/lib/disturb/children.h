// Processes that a disturbance makes and waits for.
#pragma once

#include <functional>

#include <sys/types.h>

#include "lib/random.h"

namespace at {

class Race;

// Its end, as waitpid(2) tells it; on the caller's board it is that call.
int await_child(pid_t pid);

// Runs `body` in a process of its own until the race is over; the body sees that by itself, and
// its process ends with it. Its calls stand on this thread's board; this thread makes none
// meanwhile. A fork that fails, and an end by a signal, is the harness's error; `who`: what it
// is called there.
void keep_process(Race& race, Random random, const char* who,
                  const std::function<void(Random& random)>& body);

} // namespace at
