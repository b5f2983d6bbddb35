// A program that is no Python and becomes one: it loads the library its first argument names and hands it the others.
//
//   embed LIBRARY [ARGUMENT...]
#include <dlfcn.h>
#include <stdio.h>

int main(int count, char **arguments) {
    if (count < 2) {
        fprintf(stderr, "usage: embed LIBRARY [ARGUMENT...]\n");
        return 2;
    }
    // The interpreter's extension modules look for its functions among the global ones.
    void *library = dlopen(arguments[1], RTLD_NOW | RTLD_GLOBAL);
    int (*run)(int, char **) = library ? (int (*)(int, char **))dlsym(library, "Py_BytesMain") : NULL;
    if (!run) {
        fprintf(stderr, "embed: %s\n", dlerror());
        return 1;
    }
    return run(count - 1, arguments + 1);
}
