/*
 * Takes many snapshots in a pool that no host has imported, with OpenZFS as a library: hundreds of
 * times as fast as an emulated host does it.
 *
 *   pool_sets DEVICE POOL <LINES          a line: the names of snapshots that are taken together
 */
#include <libnvpair.h>
#include <libzutil.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fs/zfs.h>

#define MODE_READ_WRITE 3

/* The headers of the library do not declare it without the kernel's own. */
void kernel_init(int mode);
void kernel_fini(void);
int spa_import(char *pool, nvlist_t *config, nvlist_t *props, uint64_t flags);
int spa_export(const char *pool, nvlist_t **config, boolean_t force, boolean_t hard_force);
int dsl_dataset_snapshot(nvlist_t *snaps, nvlist_t *props, nvlist_t *errors);

static void
check(int e, const char *what)
{
    if (e != 0) {
        fprintf(stderr, "pool_sets: %s: %s\n", what, strerror(e));
        exit(1);
    }
}

static void
line_take(char *line)
{
    nvlist_t *snaps = fnvlist_alloc();
    nvlist_t *errors = fnvlist_alloc();
    char *rest = NULL;

    for (char *name = strtok_r(line, " \n", &rest); name != NULL;
         name = strtok_r(NULL, " \n", &rest)) {
        fnvlist_add_boolean(snaps, name);
    }
    check(dsl_dataset_snapshot(snaps, NULL, errors), "snapshot");
    fnvlist_free(errors);
    fnvlist_free(snaps);
}

int
main(int argc, char **argv)
{
    libpc_handle_t handle = {.lpc_ops = &libzpool_config_ops, .lpc_printerr = B_TRUE};
    char *line = NULL;
    size_t size = 0;
    nvlist_t *config = NULL;

    if (argc != 3) {
        fprintf(stderr, "usage: pool_sets DEVICE POOL <LINES\n");
        return 2;
    }
    importargs_t args = {.path = &argv[1], .paths = 1, .can_be_active = B_TRUE, .scan = B_TRUE};
    kernel_init(MODE_READ_WRITE);
    check(zpool_find_config(&handle, argv[2], &config, &args), "find the pool");
    check(spa_import(argv[2], config, NULL, ZFS_IMPORT_SKIP_MMP), "import");
    while (getline(&line, &size, stdin) > 0) {
        line_take(line);
    }
    free(line);
    check(spa_export(argv[2], NULL, B_TRUE, B_FALSE), "export");
    fnvlist_free(config);
    kernel_fini();
    return 0;
}
