# The main process ends well while children of it live, one of them in a session of its own.
job "children_remain" {
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
        args    = ["-c", "sleep 600 & setsid sleep 600 & echo $! ; exit 0"]
      }
      resources {
        cpu    = 20
        memory = 32
      }
    }
  }
}
