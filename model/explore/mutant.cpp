#include "explore/mutant.hpp"

#include <dlfcn.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <sstream>
#include <stdexcept>
#include <vector>

extern char** environ;

namespace at::model {

namespace fs = std::filesystem;

namespace {

// Lives until the process ends: the names of functions are read from the file when they are needed.
class ScratchDirectory {
public:
    ScratchDirectory() {
        std::string name = (fs::temp_directory_path() / "at-mutant-XXXXXX").string();
        if (!mkdtemp(name.data()))
            throw std::runtime_error("no temporary directory");
        path_ = name;
    }
    ~ScratchDirectory() {
        std::error_code ignored;
        fs::remove_all(path_, ignored);
    }
    ScratchDirectory(const ScratchDirectory&) = delete;
    ScratchDirectory& operator=(const ScratchDirectory&) = delete;
    const fs::path& path() const { return path_; }

private:
    fs::path path_;
};

void run(const std::vector<std::string>& command, const std::string& complaint) {
    std::vector<char*> arguments;
    for (const std::string& one : command)
        arguments.push_back(const_cast<char*>(one.c_str()));
    arguments.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
    pid_t child = -1;
    const int failed =
        posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    int status = -1;
    if (failed || waitpid(child, &status, 0) != child || !WIFEXITED(status) ||
        WEXITSTATUS(status) != 0)
        throw std::runtime_error(complaint);
}

} // namespace

void load_mutant(std::string_view name_or_path) {
    static ScratchDirectory scratch;
    const fs::path named = fs::path(AT_MUTANTS_DIR) / (std::string(name_or_path) + ".patch");
    const fs::path patch = fs::exists(named) ? named : fs::absolute(name_or_path);
    if (!fs::is_regular_file(patch))
        throw std::runtime_error("no mutant " + std::string(name_or_path));

    const fs::path driver = scratch.path() / "driver";
    fs::create_directory(driver);
    for (const auto& file : fs::directory_iterator(AT_DRIVER_DIR))
        if (file.path().extension() == ".c" || file.path().extension() == ".h")
            fs::copy_file(file.path(), driver / file.path().filename());
    run({"patch", "--silent", "-p1", "-d", scratch.path().string(), "-i", patch.string()},
        patch.string() + " does not apply");

    const fs::path module = scratch.path() / "zcdma.so";
    std::vector<std::string> command{AT_CC};
    std::istringstream flags(AT_ZCDMA_FLAGS);
    for (std::string flag; flags >> flag;)
        command.push_back(flag);
    command.insert(command.end(), {"-fPIC", "-shared", "-nostdlib", "-I", driver.string(), "-o",
                                   module.string(), (driver / "zcdma.c").string()});
    run(command, "the mutant does not compile");
    if (!dlopen(module.c_str(), RTLD_NOW | RTLD_LOCAL))
        throw std::runtime_error(dlerror());
}

} // namespace at::model
