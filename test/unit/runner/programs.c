#include "programs.h"

#include <sys/stat.h>
#include <unistd.h>

#include "os/cgroup.h"

bool programs_usable;
char programs_dir[] = "/tmp/zb-runner-XXXXXX";
char programs_group[64];

int
programs_setup(void **state)
{
    struct zb_err err;
    int fd = -1;
    (void)state;

    (void)snprintf(programs_group, sizeof(programs_group), "unit-test-%d", (int)getpid());
    programs_usable = geteuid() == 0 && zb_os_cgroup_open(programs_group, &fd, &err) == ZB_OK;
    if (!programs_usable) {
        print_message("skipped: no cgroup2 hierarchy that can be written here\n");
        return 0;
    }
    (void)close(fd);
    assert_non_null(mkdtemp(programs_dir));
    assert_int_equal(chmod(programs_dir, 0755), 0);
    return 0;
}

int
programs_teardown(void **state)
{
    char command[128];
    (void)state;

    if (programs_usable) {
        zb_os_cgroup_remove(programs_group);
        (void)snprintf(command, sizeof(command), "rm -r %s", programs_dir);
        assert_int_equal(system(command), 0);
    }
    return 0;
}

void
programs_need(void)
{
    if (!programs_usable) {
        skip();
    }
}

void
program_path(const char *name, char path[256])
{
    (void)snprintf(path, 256, "%s/%s", programs_dir, name);
}

void
program_make(const char *name, const char *text)
{
    char path[256];
    FILE *f;

    program_path(name, path);
    f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fprintf(f, "#!/bin/sh\n%s\n", text) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, 0755), 0);
}
