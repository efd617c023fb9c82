#include "lib/disturb/children.h"

#include <cerrno>
#include <cstring>
#include <string>

#include <sys/wait.h>
#include <unistd.h>

#include "lib/race.h"
#include "lib/racer.h"

namespace at {

int await_child(pid_t pid) {
    const Calling calling(Call::waitpid);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
}

void keep_process(Race& race, Random random, const char* who,
                  const std::function<void(Random& random)>& body) {
    pid_t pid = 0;
    {
        const Calling calling(Call::fork);
        pid = fork();
        if (pid == 0) {
            body(random);
            _exit(0);
        }
    }
    if (pid < 0)
        return race.harness_error(std::string("fork: ") + std::strerror(errno));
    while (!race.stopped())
        race.pause(10000000);
    if (const int status = await_child(pid); WIFSIGNALED(status) && !race.stopped())
        race.harness_error(std::string(who) + " ended by signal " +
                           std::to_string(WTERMSIG(status)));
}

} // namespace at
