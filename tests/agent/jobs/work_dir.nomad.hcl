# Runs in a directory that the job names.
job "work_dir" {
  type = "batch"

  group "group" {
    restart {
      attempts = 0
      mode     = "fail"
    }
    reschedule {
      attempts  = 0
      unlimited = false
    }
    task "task" {
      driver = "trio"
      config {
        command = "/bin/sh"
        args    = ["-c", "pwd -P"]
        work_dir = "/usr/share"
      }
      resources {
        cpu    = 20
        memory = 32
      }
    }
  }
}
