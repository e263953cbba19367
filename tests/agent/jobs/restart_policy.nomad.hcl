# Fails each time: two restarts, then the allocation has failed. Each start appends a line.
job "restart_policy" {
  type = "batch"

  group "group" {
    restart {
      attempts = 2
      interval = "10m"
      delay    = "1s"
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
        args    = ["-c", "echo start; exit 1"]
      }
      resources {
        cpu    = 20
        memory = 32
      }
    }
  }
}
