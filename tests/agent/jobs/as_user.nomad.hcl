# Runs as the job's user, with the user's groups.
job "as_user" {
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
      user = "nobody"
      config {
        command = "/bin/sh"
        args    = ["-c", "id -un; id -Gn; echo end"]
      }
      resources {
        cpu    = 20
        memory = 32
      }
    }
  }
}
